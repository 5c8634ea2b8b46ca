FROM diff-base
RUN mkdir /s && touch "/s/$(printf 'new\nline')" '/s/*star' '/s/q?' '/s/-dash' '/s/ü'
FROM scratch
COPY --from=0 /s /s
