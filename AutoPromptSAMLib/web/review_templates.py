"""The template of the review: where the model is unsure, and what to do about it."""

LOOK = """
<div v-if="phase !== 'propagating'" class="aps-examples-buttons">
  <button class="aps-button aps-primary aps-wide" data-testid="review-run" @click="trigger('review_run')"
    :disabled="!READY"><v-icon size="18">mdi-magnify-scan</v-icon> Where is it unsure?
    <v-tooltip activator="parent" max-width="280">Ask how sure the model is of the active segment on slices
      {{ propagate_first }} to {{ propagate_last }}; nothing is changedRUN_KEY</v-tooltip></button>
  <button class="aps-button" data-testid="review-one" @click="trigger('review_one')" :disabled="!READY"
    :title="'Look at ' + propagate_view + ' slice ' + SHOWN + ' only'">Slice {{ SHOWN }}</button>
</div>
<button v-else class="aps-button aps-wide" data-testid="review-cancel" @click="trigger('cancel')">
  <v-icon size="18">mdi-stop-circle-outline</v-icon> Cancel, keep what is done <kbd>Esc</kbd></button>
<div v-if="phase === 'propagating'" class="aps-bar" role="progressbar" aria-label="Progress" :aria-valuenow="done"
  :aria-valuemax="total"><span :style="{width: 100 * done / Math.max(1, total) + '%'}"></span></div>
<p v-if="!review_ran && phase !== 'propagating'" class="aps-note" data-testid="review-start">The model says how sure it
  is of the active segment, slice by slice, and leads you to where it is least sure.</p>
"""
RANKING = """
<div v-if="review_ran" class="aps-review" data-testid="review-ranking">
  <div class="aps-legend" data-testid="review-legend" title="Expected Dice of each slice, over the slider: from dark
 (90 % and more) to bright (below 50 %)"><span>least sure</span><i class="aps-mark-sure-4"></i>
    <i class="aps-mark-sure-3"></i><i class="aps-mark-sure-2"></i><i class="aps-mark-sure-1"></i>
    <i class="aps-mark-sure-0"></i><span>surest</span></div>
  <p class="aps-soft" data-testid="review-about" title="Dice: overlap with what is right, as the model expects it;
 100 % is perfect">{{ review_about }}</p>
  <ul v-if="review_rows.length" class="aps-objects" data-testid="review-list" aria-label="Least sure slices">
    <li v-for="r in review_rows" :key="r.index" class="aps-object">
      <button class="aps-review-row" data-testid="review-row" :data-slice="r.index" :aria-current="r.index === SHOWN"
        :class="{'aps-active': r.index === SHOWN}" :title="r.text + '. Click: go there'"
        @click="trigger('slice_jump', [propagate_view, r.index])"><i :class="'aps-mark-sure-' + r.level"></i>
        <span>Slice <b>{{ r.index }}</b></span>
        <span class="aps-soft">{{ r.position }}{{ r.beside ? ', past the end' : '' }}</span>
        <span class="aps-spring"></span><span>{{ r.percent }} %</span></button></li></ul>
  <p v-else-if="phase !== 'propagating'" class="aps-soft">No slice is left to look at.</p>
  <div class="aps-examples-buttons">
    <button class="aps-button" data-testid="review-next" :disabled="!review_rows.length && !review_corrected.length"
      @click="trigger('review_next')"><v-icon size="18">mdi-crosshairs-question</v-icon> Next unsure
      <v-tooltip activator="parent">Go to the next unsure sliceNEXT_KEY</v-tooltip></button>
    <button class="aps-button" data-testid="review-accept" :disabled="phase === 'propagating'"
      @click="trigger('review_accept')"><v-icon size="18">mdi-check</v-icon> Accept {{ SHOWN }}
      <v-tooltip activator="parent" max-width="280">This slice is right: it stays as it is, and is no longer among the
        unsure onesACCEPT_KEY</v-tooltip></button>
  </div>
  <label class="aps-check" title="When you go on, the 5 slices on both sides of a corrected one are found again
 from it. What you prompted, painted or accepted stays"><input type="checkbox" v-model="review_carry"
    data-testid="review-carry"/> Carry corrections to neighbours</label>
  <p v-if="review_corrected.length" class="aps-note" data-testid="review-corrected">Corrected:
    {{ review_corrected.join(', ') }}. <button class="aps-link" data-testid="review-carry-now"
      :disabled="phase === 'propagating'" @click="trigger('review_carry_now')">Carry it on now</button></p>
  <p v-if="review_changed" class="aps-note" data-testid="review-changed">{{ review_changed }} slices changed since;
    look again for them.</p>
</div>
"""
OVERLAY = """
<div v-if="review_ran" class="aps-review-overlay">
  <label class="aps-check"><input type="checkbox" v-model="review_overlay" data-testid="review-overlay"/> Uncertainty
    <v-tooltip activator="parent" max-width="280">Lay the uncertainty over the image: 1 bit is a coin toss, 0 bits is
      certainOVERLAY_KEY</v-tooltip></label>
  <input type="range" min="10" max="100" v-model.number="review_opacity" data-testid="review-opacity"
    aria-label="Opacity of the uncertainty in percent" :title="'Opacity ' + review_opacity + ' %'"/>
  <label class="aps-check"><input type="checkbox" v-model="review_surface" data-testid="review-surface"/> 3D
    <v-tooltip activator="parent" max-width="280">Colour the surface in 3D by the uncertainty averaged
    over about 4 mm, from 0 to 0.5 bits</v-tooltip></label>
  <div class="aps-bits" data-testid="review-bits" role="img" aria-label="Colours from 0 to 1 bit"><span>0</span>
    <i style="background:GRADIENT"></i><span>1 bit</span></div>
</div>
"""
MEND = """
<div v-if="review_ran && review_suggested" class="aps-examples-row" data-testid="review-suggestion">
  <label class="aps-check aps-suggested" :title="'Suggested by uncertainty for slice ' + SHOWN + ': ' +
 review_suggested + '. Drag its handles to change it'"><input type="checkbox" v-model="review_suggest"
    data-testid="review-suggest"/> Suggested: {{ review_suggested }}</label><span class="aps-spring"></span>
  <button class="aps-button" data-testid="review-take" @click="trigger('review_take')"
    :disabled="phase === 'propagating'">Take it<v-tooltip activator="parent" max-width="260">Make the suggestion your
    prompt; a box replaces the one on this sliceTAKE_KEY</v-tooltip></button>
</div>
<div v-if="phase !== 'propagating'" class="aps-examples-buttons">
  <button class="aps-button aps-wide" data-testid="review-refine" @click="trigger('review_refine')" :disabled="!READY">
    <v-icon size="18">mdi-auto-fix</v-icon> Refine automatically<v-tooltip activator="parent" max-width="280">Let the
    prompts mend themselves on slices {{ propagate_first }} to {{ propagate_last }}, as long as uncertainty falls. What
    you painted or accepted staysREFINE_KEY</v-tooltip></button>
  <button class="aps-button" data-testid="review-refine-one" @click="trigger('review_refine_one')"
    :disabled="!READY">Slice {{ SHOWN }}<v-tooltip activator="parent">Refine this slice
    onlyREFINE_ONE_KEY</v-tooltip></button>
</div>
<div v-if="review_steps" class="aps-review" data-testid="review-steps">
  <div class="aps-examples-row">
    <button class="aps-icon" data-testid="review-back" aria-label="Step back" :disabled="review_steps.number < 1 ||
 phase === 'propagating'" @click="trigger('review_step', [-1])"><v-icon size="20">mdi-chevron-left</v-icon>
      <v-tooltip activator="parent">The step beforeBACK_KEY</v-tooltip></button>
    <span data-testid="review-step">Slice {{ review_steps.index }}: {{ review_steps.title }}</span>
    <span class="aps-spring"></span>
    <button class="aps-icon" data-testid="review-forward" aria-label="Step forward"
      @click="trigger('review_step', [1])"
      :disabled="review_steps.number >= review_steps.count - 1 || phase === 'propagating'">
      <v-icon size="20">mdi-chevron-right</v-icon>
      <v-tooltip activator="parent">The next stepFORWARD_KEY</v-tooltip></button>
  </div>
  <p class="aps-soft" data-testid="review-reason">{{ review_steps.reason }}</p>
</div>
<div v-if="review_ran" class="aps-examples-row aps-soft">Save the uncertainty:
  <button class="aps-link" data-testid="review-export-nrrd" :disabled="!!review_exporting"
    title="Bits on the voxels of the image, for 3D Slicer" onclick="apsFiles.download('.nrrd', 'review_export')">
    .nrrd</button>
  <button class="aps-link" data-testid="review-export-nii-gz" :disabled="!!review_exporting"
    title="Bits on the voxels of the image, for other programs"
    onclick="apsFiles.download('.nii.gz', 'review_export')">.nii.gz</button>
  <span data-testid="review-exporting">{{ review_exporting }}</span></div>
"""
PANEL = f"""
<section v-if="guide === 'review'" class="aps-section aps-examples aps-reviewing" aria-label="Review">
{LOOK}{RANKING}{OVERLAY}{MEND}
</section>
""".replace(
    "READY", "(tools_ready && segments.some((s) => s.id === active_segment && s.ml !== '–') && !examples_learning)"
).replace("SHOWN", "({axial: view_axial, coronal: view_coronal, sagittal: view_sagittal})[propagate_view].index")
