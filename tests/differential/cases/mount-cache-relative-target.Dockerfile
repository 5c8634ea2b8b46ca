FROM diff-base
WORKDIR /w
RUN --mount=type=cache,id=diff-relative,target=c echo x > c/f && ls /w > /list
