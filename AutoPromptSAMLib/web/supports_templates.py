"""The templates of the examples: the part of the side panel, and the gallery."""

PANEL = """
<section v-if="guide === 'examples'" class="aps-section aps-examples" aria-label="Examples">
  <div v-if="!examples_sets.length" class="aps-examples-start" data-testid="examples-start">
    <p>Examples are annotated images, of other patients too: by them, new images are prompted automatically. Draw an
      object on a few slices, then make a set of them.</p>
    <div class="aps-examples-buttons">
      <button class="aps-button aps-primary" data-testid="examples-start-scene" @click="trigger('examples_form',
        ['scene', true])" :disabled="!tools_ready || !segments.some((s) => s.visible && s.ml !== '–')">
        <v-icon size="18">mdi-image-plus-outline</v-icon> From this image</button>
      <button class="aps-button" data-testid="examples-start-files" @click="trigger('examples_form', ['files', true])">
        <v-icon size="18">mdi-file-plus-outline</v-icon> From files</button>
    </div>
  </div>
  <template v-else>
    <div class="aps-examples-row">
      <select :value="examples_set" data-testid="examples-set" aria-label="Set of examples"
        title="Which examples to go by" @change="trigger('examples_choose', [$event.target.value])">
        <option v-for="s in examples_sets" :key="s.id" :value="s.id">{{ s.name }} · {{ s.about }}</option></select>
      <span v-if="examples_sets.some((s) => s.id === examples_set && s.learned)" class="aps-tag aps-on"
        data-testid="examples-learned" title="The network has learned these objects; automatic prompting uses that">
        learned</span>
      <button class="aps-icon" data-testid="examples-open" aria-label="Gallery of examples"
        @click="trigger('examples_open')"><v-icon size="20">mdi-image-multiple-outline</v-icon>
        <v-tooltip activator="parent">Gallery: add, remove, rename, exportOPEN_KEY</v-tooltip></button>
    </div>
    <div class="aps-thumbs" data-testid="examples-thumbs" tabindex="0" role="button" aria-label="Show the examples"
      @click="trigger('examples_open')" @keydown.enter="trigger('examples_open')">
      <img v-for="p in examples_pairs" :key="p.id" :src="p.thumb" :alt="p.text" :title="p.text"/>
      <span v-if="!examples_pairs.length" class="aps-soft">No example yet: open the gallery and add one.</span></div>
    <ul class="aps-objects" data-testid="examples-objects">
      <li v-for="o in examples_objects" :key="o.name" class="aps-object" data-testid="examples-object"
        :data-name="o.name">
        <label class="aps-check" :title="'Look for ' + o.name"><input type="checkbox" data-testid="examples-tick"
          :checked="!examples_off.includes(o.name)" @change="trigger('examples_tick', [o.name])"/>
          <span class="aps-chip" :style="{background: o.color}"></span>
          <span class="aps-object-name">{{ o.name }}</span></label>
        <span class="aps-spring"></span>
        <button v-if="o.sure !== null" class="aps-sure" data-testid="examples-sure"
          :title="o.text + '. Click: go there'" @click="trigger('examples_unsure', [o.name])">
          <span class="aps-meter"><span :style="{width: o.sure + '%'}"></span></span>{{ o.sure }} %</button>
        <span v-else-if="o.ran && phase !== 'propagating'" class="aps-soft" data-testid="examples-nowhere"
          title="It was found on none of these slices">not found</span></li>
    </ul>
    <div v-if="phase !== 'propagating'" class="aps-examples-buttons">
      <button class="aps-button aps-primary aps-wide" data-testid="examples-run" @click="trigger('examples_run')"
        :disabled="!tools_ready || !examples_pairs.length || !!examples_learning">
        <v-icon size="18">mdi-auto-fix</v-icon>{{ examples_ran ? 'Run again' : 'Prompt automatically' }}
        <v-tooltip activator="parent" max-width="280">Find the ticked objects on slices {{ propagate_first }} to
          {{ propagate_last }}. What you corrected or accepted stays, and guides the restRUN_KEY</v-tooltip></button>
      <button class="aps-button" data-testid="examples-one" @click="trigger('examples_one')"
        :disabled="!tools_ready || !examples_pairs.length || !!examples_learning"
        :title="'Find them on ' + propagate_view + ' slice ' + SHOWN + ' only'">Only slice {{ SHOWN }}</button>
    </div>
    <button v-else class="aps-button aps-wide" data-testid="examples-cancel" @click="trigger('cancel')">
      <v-icon size="18">mdi-stop-circle-outline</v-icon> Cancel, keep what is done <kbd>Esc</kbd></button>
    <div v-if="phase === 'propagating'" class="aps-bar" role="progressbar" :aria-valuenow="done"
      :aria-valuemax="total"><span :style="{width: 100 * done / Math.max(1, total) + '%'}"></span></div>
    <div v-if="examples_ran" class="aps-review" data-testid="examples-review">
      <div class="aps-legend" data-testid="examples-legend" title="How sure each slice of the active segment is, over
 the slider: what the network says of itself, and how well neighbouring slices agree">
        <span>least sure</span><i class="aps-mark-sure-4"></i><i class="aps-mark-sure-3"></i>
        <i class="aps-mark-sure-2"></i><i class="aps-mark-sure-1"></i><i class="aps-mark-sure-0"></i>
        <span>surest</span></div>
      <div class="aps-examples-row">
        <span v-if="examples_unsure" class="aps-unsure" data-testid="examples-least" :title="examples_unsure.name">
          <span class="aps-chip" :style="{background: examples_unsure.color}"></span>
          <span>Least sure: <b>slice {{ examples_unsure.slice }}</b>, {{ examples_unsure.sure }} %</span></span>
        <span v-else class="aps-soft">Nothing to review.</span><span class="aps-spring"></span>
        <button class="aps-button" data-testid="examples-unsure" :disabled="!examples_unsure" aria-label="Go there"
          @click="trigger('examples_unsure')"><v-icon size="18">mdi-crosshairs-question</v-icon> Go there
          <v-tooltip activator="parent">Go to the least sure slice; again: the nextUNSURE_KEY</v-tooltip></button>
      </div>
      <div class="aps-examples-buttons">
        <button class="aps-button" data-testid="examples-accept" :disabled="phase === 'propagating'"
          :aria-pressed="examples_accepted.includes(SHOWN)" @click="trigger('examples_accept')">
          <v-icon size="18">{{ examples_accepted.includes(SHOWN) ? 'mdi-check-circle' : 'mdi-check' }}</v-icon>
          {{ examples_accepted.includes(SHOWN) ? 'Accepted' : 'Accept slice ' + SHOWN }}
          <v-tooltip activator="parent" max-width="280">It is right: it stays as it is, and guides the rest when you
            run againACCEPT_KEY. A new box there, or moving one of its prompts, takes that back</v-tooltip></button>
        <button class="aps-button" data-testid="examples-add-vouched" :disabled="!examples_vouched || !!examples_busy"
          @click="trigger('examples_add_vouched')" title="Slices of this image that you corrected or accepted join the
 chosen set, for other images, too"><v-icon size="18">mdi-image-plus-outline</v-icon>
          Add {{ examples_vouched || '' }} to examples</button>
      </div>
    </div>
    <div v-if="!examples_learning" class="aps-examples-row aps-learn">
      <button class="aps-button aps-wide" data-testid="examples-learn" @click="trigger('examples_learn')"
        :disabled="!tools_ready || examples_pairs.length < 2 || phase === 'propagating'"
        title="Teach the network these objects on this machine; what it learns belongs to the set">
        <v-icon size="18">mdi-school-outline</v-icon> Learn from my examples</button>
      <select v-model.number="examples_minutes" data-testid="examples-minutes" aria-label="For how long at most"
        title="For how long at most"><option :value="2">2 min</option><option :value="5">5 min</option>
        <option :value="15">15 min</option><option :value="30">30 min</option></select></div>
    <div v-else class="aps-learning" data-testid="examples-learning">
      <figure v-if="examples_learning.preview" title="One of your examples: as you drew it in white, as the network
 finds it now in orange"><img :src="examples_learning.preview" data-testid="examples-preview"
        alt="An example: drawn in white, found in orange"/></figure>
      <div><span data-testid="examples-learning-text">{{ examples_learning.text }}</span>
        <small v-if="examples_learning.left" class="aps-soft"> · {{ examples_learning.left }}</small>
        <div class="aps-bar" role="progressbar" :aria-valuenow="examples_learning.percent" aria-valuemax="100">
          <span :style="{width: examples_learning.percent + '%'}"></span></div>
        <button class="aps-link" data-testid="examples-learn-cancel" @click="trigger('examples_learn_cancel')"
          title="The best so far is kept">Stop, keep the best so far</button>
        <small class="aps-soft"><template v-if="examples_learning.preview">White: drawn, orange: found. </template>
          Runs wait until it ends.</small></div></div>
  </template>
</section>
""".replace("SHOWN", "({axial: view_axial, coronal: view_coronal, sagittal: view_sagittal})[propagate_view].index")

SCENE_FORM = """
<form v-if="examples_form === 'scene'" class="aps-form" data-testid="examples-scene"
  @submit.prevent="trigger('examples_add_scene')">
  <h3>{{ examples_new ? 'A new set from this image' : 'More examples from this image' }}</h3>
  <label v-if="examples_new" class="aps-field">Name <input v-model="examples_name" data-testid="examples-name"
    maxlength="80" spellcheck="false"/></label>
  <div class="aps-field"><span>Segments</span><span class="aps-ticks">
    <label v-for="s in segments.filter((s) => s.ml !== '–')" :key="s.id" class="aps-check"><input type="checkbox"
      data-testid="examples-from" :value="s.id" v-model="examples_from"/>
      <span class="aps-chip" :style="{background: s.color}"></span>{{ s.name }}</label></span></div>
  <div class="aps-field"><span>Slices</span><span class="aps-ticks">
    <label class="aps-check"><input type="radio" value="spread" v-model="examples_slices"
      data-testid="examples-spread"/> Spread over the segments</label>
    <label class="aps-check"><input type="radio" value="vouched" v-model="examples_slices"
      data-testid="examples-vouched"/> Only {{ propagate_view }} ones that I prompted, painted or accepted</label>
    </span></div>
  <footer><button type="button" class="aps-button" data-testid="examples-form-cancel"
    @click="examples_form = ''">Cancel</button>
    <button type="submit" class="aps-button aps-primary" data-testid="examples-add-scene"
      :disabled="!examples_from.length || !!examples_busy">
      {{ examples_new ? 'Make the set' : 'Add' }}</button></footer>
</form>
"""
FILES_FORM = """
<form v-if="examples_form === 'files'" class="aps-form" data-testid="examples-files"
  @submit.prevent="trigger('examples_add_files')">
  <h3>{{ examples_new ? 'A new set from files' : 'More examples from files' }}</h3>
  <p class="aps-note">A picture and its mask (PNG), or a volume and its segmentation (.seg.nrrd, .nii.gz).</p>
  <label v-if="examples_new" class="aps-field">Name <input v-model="examples_name" data-testid="examples-name"
    maxlength="80" spellcheck="false" placeholder="that of the objects"/></label>
  <div class="aps-field"><span>Image</span><span class="aps-file"><label class="aps-button">Choose
    <input type="file" multiple data-testid="examples-image"
      onchange="apsFiles.picked(this, 'examples-image')"/></label>
    <span data-testid="examples-image-name">{{ examples_files.image }}</span></span></div>
  <div class="aps-field"><span>Mask</span><span class="aps-file"><label class="aps-button">Choose
    <input type="file" data-testid="examples-mask" onchange="apsFiles.picked(this, 'examples-mask')"/></label>
    <span data-testid="examples-mask-name">{{ examples_files.mask }}</span></span></div>
  <label class="aps-field">Objects <input v-model="examples_file_objects" data-testid="examples-file-objects"
    spellcheck="false" placeholder="as in the file, or: liver, spleen"
    title="Names for labels 1, 2, … of a plain mask, separated by commas"/></label>
  <footer><button type="button" class="aps-button" data-testid="examples-form-cancel"
    @click="examples_form = ''">Cancel</button>
    <button type="submit" class="aps-button aps-primary" data-testid="examples-add-files"
      :disabled="!examples_files.image || !examples_files.mask || !!examples_busy">
      {{ examples_new ? 'Make the set' : 'Add' }}</button></footer>
</form>
"""
DETAIL = """
<template v-for="c in examples_sets.filter((s) => s.id === examples_set)" :key="c.id">
  <div class="aps-set-head"><input class="aps-name aps-set-name" :value="c.name" data-testid="examples-rename"
    aria-label="Name of the set" title="Rename the set" spellcheck="false" maxlength="80"
    @change="trigger('examples_rename', [$event.target.value])" @keydown.enter="$event.target.blur()"/>
    <span v-if="c.learned" class="aps-tag aps-on" title="The network has learned these objects">learned</span></div>
  <ul class="aps-set-objects"><li v-for="o in c.objects" :key="o.name">
    <label class="aps-chip" :style="{background: o.color}" title="Colour"><input type="color" :value="o.color"
      :aria-label="'Colour of ' + o.name" @change="trigger('examples_color', [o.name, $event.target.value])"/></label>
    <input class="aps-name" :value="o.name" data-testid="examples-object-name" aria-label="Name of the object"
      title="Results go to the segment of this name" spellcheck="false" :size="Math.max(4, o.name.length)"
      @change="trigger('examples_rename_object', [o.name, $event.target.value])"
      @keydown.enter="$event.target.blur()"/></li></ul>
  <div class="aps-pairs" data-testid="examples-pairs">
    <figure v-for="p in examples_pairs" :key="p.id" data-testid="examples-pair" :data-name="p.name" :title="p.text">
      <img :src="p.thumb" :alt="p.text"/><figcaption>{{ p.name }}</figcaption>
      <button class="aps-icon" data-testid="examples-remove" :aria-label="'Remove ' + p.name" title="Remove"
        @click="trigger('examples_remove', [p.id])"><v-icon size="18">mdi-close</v-icon></button></figure>
    <p v-if="!examples_pairs.length" class="aps-empty">No example yet. Add some from the open image or from files.</p>
  </div>
  <p v-if="examples_removed" class="aps-note" data-testid="examples-removed">{{ examples_removed }} was removed.
    <button class="aps-link" data-testid="examples-unremove" @click="trigger('examples_unremove')">Undo</button></p>
  <div v-if="!examples_form && !examples_confirm" class="aps-set-actions">
    <button class="aps-button" data-testid="examples-more-scene" @click="trigger('examples_form', ['scene'])"
      :disabled="!segments.some((s) => s.visible && s.ml !== '–')"
      title="Slices of the open image with their segments">
      <v-icon size="18">mdi-image-plus-outline</v-icon> From this image</button>
    <button class="aps-button" data-testid="examples-more-files" @click="trigger('examples_form', ['files'])"
      title="An image and its mask"><v-icon size="18">mdi-file-plus-outline</v-icon> From files</button>
    <span class="aps-spring"></span>
    <button class="aps-button" data-testid="examples-export" :data-id="c.id"
      onclick="apsFiles.download(this.dataset.id, 'examples_export')" title="The whole set as one .apsupports file">
      <v-icon size="18">mdi-export-variant</v-icon> Export</button>
    <button class="aps-icon" data-testid="examples-remove-set" aria-label="Remove the set" title="Remove the set"
      @click="examples_confirm = true"><v-icon size="20">mdi-trash-can-outline</v-icon></button></div>
  <div v-if="examples_confirm" class="aps-set-actions" role="alertdialog">
    <span>Remove “{{ c.name }}” with {{ c.about }}? This cannot be undone.</span><span class="aps-spring"></span>
    <button class="aps-button aps-danger" data-testid="examples-confirm" @click="trigger('examples_remove_set')">
      Remove</button>
    <button class="aps-button" data-testid="examples-keep" @click="examples_confirm = false">Keep</button></div>
</template>
"""
GALLERY = f"""
<v-dialog v-model="examples_open" max-width="920">
  <div class="aps-dialog aps-gallery" data-testid="examples-dialog" role="dialog" aria-label="Examples">
    <header class="aps-head"><h2>Examples</h2>
      <span class="aps-soft" data-testid="examples-busy">{{{{ examples_busy }}}}</span><span class="aps-spring"></span>
      <button class="aps-icon" data-testid="examples-close" aria-label="Close" @click="examples_open = false">
        <v-icon>mdi-close</v-icon></button></header>
    <div class="aps-gallery-body">
      <div class="aps-sets">
        <ul><li v-for="s in examples_sets" :key="s.id" class="aps-set" tabindex="0" data-testid="examples-card"
          :class="{{'aps-active': s.id === examples_set && !(examples_form && examples_new)}}" :data-name="s.name"
          @click="examples_form = ''; trigger('examples_choose', [s.id])"
          @keydown.enter="examples_form = ''; trigger('examples_choose', [s.id])">
          <img v-if="s.thumb" :src="s.thumb" alt=""/><span v-else class="aps-set-none"></span>
          <span class="aps-set-about"><b>{{{{ s.name }}}}</b>
            <small>{{{{ s.about + (s.learned ? ', learned' : '') }}}}</small>
            <span class="aps-dots"><i v-for="o in s.objects" :key="o.name" :style="{{background: o.color}}"
              :title="o.name"></i></span></span></li></ul>
        <button class="aps-button" data-testid="examples-new-scene" @click="trigger('examples_form', ['scene', true])"
          :disabled="!segments.some((s) => s.visible && s.ml !== '–')" title="From the open image and its segments">
          <v-icon size="18">mdi-plus</v-icon> New set from this image</button>
        <button class="aps-button" data-testid="examples-new-files" @click="trigger('examples_form', ['files', true])">
          <v-icon size="18">mdi-plus</v-icon> New set from files</button>
        <label class="aps-button aps-file-button" title="A .apsupports file that was exported here or elsewhere">
          <v-icon size="18">mdi-import</v-icon> Import a set <input type="file" accept=".apsupports"
          data-testid="examples-import" onchange="apsFiles.picked(this, 'examples-import')"/></label>
      </div>
      <div class="aps-set-detail">
        <template v-if="!(examples_form && examples_new)">{DETAIL}</template>
        {SCENE_FORM}{FILES_FORM}
        <p v-if="!examples_sets.length && !examples_form" class="aps-empty">Examples are annotated images, of other
          patients too. Make a set from the open image, from files, or import one.</p>
      </div>
    </div>
  </div>
</v-dialog>
"""
