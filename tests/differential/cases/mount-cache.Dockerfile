FROM diff-base
RUN --mount=type=cache,target=/cache echo kept > /cache/f
RUN --mount=type=cache,target=/cache cat /cache/f > /seen
RUN ls /cache 2>/dev/null | wc -l > /without; test -e /cache/f || echo none >> /without
