"""The paper's experiments, the stand-in corpora and the demo: thin scripts over nussl_transfer."""
