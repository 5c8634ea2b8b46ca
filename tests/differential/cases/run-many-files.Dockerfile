FROM diff-base
RUN mkdir /m && for i in $(seq 1 300); do echo $i > /m/$i; done
RUN rm /m/1* && echo x > /m/2
