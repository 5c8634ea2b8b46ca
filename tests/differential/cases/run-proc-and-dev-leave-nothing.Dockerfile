FROM diff-base
RUN echo x > /dev/null && echo x > /dev/shm/x && test -e /proc/self && test -c /dev/full
