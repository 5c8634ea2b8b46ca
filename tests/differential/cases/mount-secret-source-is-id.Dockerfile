FROM diff-base
RUN --mount=type=secret,source=token,target=/t cat /t > /seen
# with: --secret id=token,src={context}/a.txt --secret id=other,src={context}/b.txt
