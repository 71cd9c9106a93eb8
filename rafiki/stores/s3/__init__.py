"""Stores on S3 and what speaks like it: ``s3://bucket/prefix?endpoint=http://host:9000``, an extra (``rafiki-ml[s3]``).

The admin alone has the credentials, from its environment or a profile of its user; services use the admin's door.
"""
