# To /usr/share/fish/vendor_completions.d/highhock.fish: read when it is first wanted.
highhock completions fish | source
