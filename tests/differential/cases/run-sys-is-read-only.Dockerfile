FROM diff-base
RUN touch /sys/x 2>/dev/null && echo writable > /r || echo read-only > /r
