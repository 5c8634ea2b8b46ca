FROM diff-base
VOLUME /data
RUN mkdir -p /data && echo kept > /data/file
