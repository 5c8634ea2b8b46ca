FROM diff-base
RUN mkdir /real && ln -s /real /alias
COPY a.txt /alias/
COPY dir /alias/dir
