"""Names of classes as plain data, each list in the order of its numbers."""

#: The subset of the Galaxy Zoo challenge of Zhu et al. 2019 (Ap&SS 364, 55).
FIVE_CLASSES = ("completely_round_smooth", "in_between_smooth", "cigar_shaped_smooth", "edge_on", "spiral")
#: The rule behind them: the least vote fractions, by the challenge's columns, of each class; the first that applies is
#: taken. As in pegasus-isi's galaxy-classification-workflow.
FIVE_CLASS_RULE = ({"Class1.1": 0.469, "Class7.1": 0.50}, {"Class1.1": 0.469, "Class7.2": 0.50},
                   {"Class1.1": 0.469, "Class7.3": 0.50}, {"Class1.2": 0.430, "Class2.1": 0.602},
                   {"Class1.2": 0.430, "Class2.2": 0.715, "Class4.1": 0.619})

#: Galaxy Zoo 2 in eight classes (arXiv 2110.01024), by the numbers of its tables' column `label1`.
EIGHT_CLASSES = ("round_elliptical", "in_between_elliptical", "cigar_shaped_elliptical", "edge_on", "barred_spiral",
                 "unbarred_spiral", "irregular", "merger")

#: Galaxy10 DECaLS (Leung & Bovy; https://github.com/henrysky/Galaxy10).
TEN_CLASSES = ("disturbed", "merging", "round_smooth", "in_between_round_smooth", "cigar_shaped_smooth",
               "barred_spiral", "unbarred_tight_spiral", "unbarred_loose_spiral", "edge_on_without_bulge",
               "edge_on_with_bulge")

#: Galaxy10 SDSS (Leung & Bovy; astroNN, `astroNN.datasets.galaxy10sdss`).
TEN_CLASSES_SDSS = ("face_on_no_spiral", "completely_round_smooth", "in_between_smooth", "cigar_shaped_smooth",
                    "edge_on_rounded_bulge", "edge_on_boxy_bulge", "edge_on_no_bulge", "face_on_tight_spiral",
                    "face_on_medium_spiral", "face_on_loose_spiral")

#: What `galaxy_jax.simulate` renders: its KINDS and SCENE_CLASSES, here for those who read its images without jax.
SIMULATED_KINDS = ("elliptical", "lenticular", "spiral", "edge_on", "irregular", "disturbed", "merger", "ring", "lens",
                   "artifact")
SCENE_CLASSES = ("spiral", "elliptical", "other")

#: mask_galaxy (Farias et al. 2020): its S, E and U. Nobody is trained on the last: its objects are to be ignored.
MASK_CLASSES = ("spiral", "elliptical", "unknown")
