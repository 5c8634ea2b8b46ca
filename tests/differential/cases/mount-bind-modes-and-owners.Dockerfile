FROM diff-base AS made
RUN mkdir -m 0700 /d && echo x > /d/f && chown alice:staff /d/f && chmod 4711 /d/f
FROM diff-base
RUN --mount=from=made,source=/d,target=/d stat -c '%n %a %u %g' /d /d/f > /seen
