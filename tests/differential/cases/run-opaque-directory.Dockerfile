FROM diff-base
RUN mkdir /d && touch /d/1 /d/2 /d/3
RUN rm -r /d && mkdir /d && touch /d/4
