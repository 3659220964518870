"""Names of classes as plain data, each list in the order of its numbers."""

#: The subset of the Galaxy Zoo challenge of Zhu et al. 2019 (Ap&SS 364, 55).
FIVE_CLASSES = ("completely_round_smooth", "in_between_smooth", "cigar_shaped_smooth", "edge_on", "spiral")

#: Galaxy10 DECaLS (Leung & Bovy; https://github.com/henrysky/Galaxy10).
TEN_CLASSES = ("disturbed", "merging", "round_smooth", "in_between_round_smooth", "cigar_shaped_smooth",
               "barred_spiral", "unbarred_tight_spiral", "unbarred_loose_spiral", "edge_on_without_bulge",
               "edge_on_with_bulge")

#: What `galaxy_jax.simulate` renders: its KINDS and SCENE_CLASSES, here for those who read its images without jax.
SIMULATED_KINDS = ("elliptical", "lenticular", "spiral", "edge_on", "irregular", "disturbed", "merger", "ring", "lens",
                   "artifact")
SCENE_CLASSES = ("spiral", "elliptical", "other")
