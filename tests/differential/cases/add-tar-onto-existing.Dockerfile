FROM diff-base
RUN mkdir -p /out/tree/sub && echo old > /out/tree/one && echo stays > /out/tree/kept && ln -s /etc /out/tree/sub/etc
ADD archives/tree.tar.gz /out
