FROM diff-base
RUN rm -r /home/alice && rm /etc/group
