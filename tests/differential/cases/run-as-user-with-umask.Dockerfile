FROM diff-base
USER alice
WORKDIR /home/alice
RUN umask > u && touch f && mkdir d
