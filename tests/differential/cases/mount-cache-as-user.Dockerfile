FROM diff-base
USER alice
RUN --mount=type=cache,id=diff-user,target=/c,uid=1000 echo x > /c/f && stat -c %u /c/f > /tmp/seen
