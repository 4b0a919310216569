DROP TABLE space_mcp_servers, mcp_servers, vault_secrets;
DROP FUNCTION forget_mcp_secret, mcp_server_secret, count_mcp_servers, caller_edited_spaces,
    caller_runs_integrations;
