FROM diff-base
RUN mkdir /real && ln -s real /alias
COPY dir /alias
