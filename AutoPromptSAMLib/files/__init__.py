"""Files from elsewhere: what may be opened, kept and handed out; those who sent them are not trusted."""
