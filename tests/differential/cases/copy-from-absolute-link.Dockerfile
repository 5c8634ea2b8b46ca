FROM diff-base
RUN mkdir /l && echo x > /l/f && ln -s /l/f /l/abs && ln -s f /l/rel
FROM scratch
COPY --from=0 /l /l
COPY --from=0 /l/abs /abs
