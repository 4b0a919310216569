DROP TABLE invitation_mails, invitations CASCADE;
DROP POLICY caller_promotes ON members;
DROP POLICY caller_dismisses ON members;
REVOKE UPDATE (role), DELETE ON members FROM switchy_app;
DROP TRIGGER leave_org ON members;
DROP FUNCTION lock_members, leave_org, end_invitation, accept_invitation, caller_manages_org;
