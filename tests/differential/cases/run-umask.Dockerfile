FROM diff-base
RUN umask 077 && echo x > /f && mkdir /d
