"""Users, the rules that say what each may do, and the log of denials.

https://redis.io/docs/latest/operate/oss_and_stack/management/security/acl/
"""
