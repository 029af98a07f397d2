# To /usr/share/bash-completion/completions/highhock: read when it is first wanted.
eval "$(highhock completions bash)"
