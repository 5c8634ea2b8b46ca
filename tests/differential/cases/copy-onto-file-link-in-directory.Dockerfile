FROM diff-base
RUN mkdir /d && echo old > /old && ln -s /old /d/x.txt
COPY dir /d/
