"""Where jobs run: a cluster on this machine (`local`), and manifests for other ones (`render`). Imports no torch."""
