FROM diff-base
RUN echo x > /f
RUN rm /f && ln -s /etc/motd /f
