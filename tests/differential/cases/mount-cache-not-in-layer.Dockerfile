FROM diff-base
RUN --mount=type=cache,id=diff-layer,target=/var/cache/x echo big > /var/cache/x/f && echo y > /var/cache/y
