FROM diff-base
COPY --chown=alice:staff dir /home/alice/dir
