FROM diff-base
RUN mkdir /d && touch /d/f
RUN chown alice:staff /d
