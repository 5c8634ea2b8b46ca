FROM diff-base
WORKDIR /made
RUN pwd > where && touch file
WORKDIR relative
RUN pwd > where
WORKDIR /
RUN pwd > where
