FROM diff-base
RUN echo more >> /etc/motd
