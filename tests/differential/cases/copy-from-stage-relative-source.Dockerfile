FROM scratch AS one
WORKDIR /w
COPY dir d
FROM scratch
COPY --from=one w/d /d
