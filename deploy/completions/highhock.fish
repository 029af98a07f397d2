# Installed as /usr/share/fish/vendor_completions.d/highhock.fish; loaded on first use.
highhock completions fish | source
