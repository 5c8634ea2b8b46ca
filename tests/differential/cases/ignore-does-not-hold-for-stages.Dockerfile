FROM diff-base AS one
RUN mkdir /dir && touch /dir/x.txt
FROM scratch
COPY --from=one /dir /dir
