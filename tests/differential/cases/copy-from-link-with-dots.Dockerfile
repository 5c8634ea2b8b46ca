FROM diff-base
RUN mkdir -p /a/b && echo x > /f && ln -s ../../../../f /a/b/up
FROM scratch
COPY --from=0 /a/b/up /f
