FROM diff-base
RUN mkdir -p /gone/deep && echo x > /gone/deep/x && echo y > /kept
RUN rm -r /gone && rm /etc/motd
