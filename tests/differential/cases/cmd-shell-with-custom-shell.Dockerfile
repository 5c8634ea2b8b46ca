FROM diff-base
SHELL ["/bin/sh", "-eu", "-c"]
CMD a b
ENTRYPOINT c d
