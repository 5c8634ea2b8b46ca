FROM diff-base
ENTRYPOINT []
