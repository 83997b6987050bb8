"""The command `dreamcache`: one function a verb, which loads what it needs when it is called."""
