FROM diff-base
RUN --mount=type=secret,id=token stat -c '%a %u %g' /run/secrets/token > /seen
# with: --secret id=token,src={context}/a.txt --secret id=other,src={context}/b.txt
