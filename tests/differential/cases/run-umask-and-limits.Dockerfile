FROM diff-base
RUN umask > /umask && touch /plain && mkdir /folder
