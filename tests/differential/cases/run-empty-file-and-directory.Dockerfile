FROM diff-base
RUN : > /empty && mkdir /dir
