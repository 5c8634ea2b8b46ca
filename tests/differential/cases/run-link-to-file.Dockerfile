FROM diff-base
RUN ln -s /etc/motd /l
RUN rm /l && echo file > /l
