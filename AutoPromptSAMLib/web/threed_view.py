"""What lies over the 3D view."""

THREED_TEMPLATE = """
<div class="aps-view-name"><span class="aps-dot" style="background:#35B6FF"></span>3D</div>
<div class="aps-view-tools">
  <v-btn size="small" variant="text" :icon="surface_shown ? 'mdi-cube' : 'mdi-cube-outline'"
    data-testid="view-3d-surface"
    :color="surface_shown ? 'primary' : undefined" :disabled="!tools_ready" :aria-pressed="surface_shown"
    aria-label="Show segments in 3D" @click="trigger('segments_surface', [!surface_shown])"></v-btn>
  <v-btn size="small" variant="text" icon="mdi-fit-to-page-outline" data-testid="view-3d-fit" aria-label="Fit"
    @click="trigger('view_fit')"></v-btn>
</div>
<div v-if="!surface_shown && tools_ready" class="aps-view-empty">
  <button class="aps-link" data-testid="view-3d-show" @click="trigger('segments_surface', [true])">
    Show segments in 3D
  </button>
</div>
"""
