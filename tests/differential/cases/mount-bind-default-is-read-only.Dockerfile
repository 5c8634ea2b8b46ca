FROM diff-base
RUN --mount=target=/ctx touch /ctx/new 2>/dev/null && echo writable > /r || echo read-only > /r
