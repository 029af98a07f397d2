# Installed as /usr/share/bash-completion/completions/highhock; loaded on first use.
eval "$(highhock completions bash)"
