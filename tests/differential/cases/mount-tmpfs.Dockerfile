FROM diff-base
RUN --mount=type=tmpfs,target=/t echo x > /t/f && ls /t > /seen
RUN test ! -e /t/f && echo gone > /after
