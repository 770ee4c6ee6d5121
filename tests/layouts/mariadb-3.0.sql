CREATE TABLE `eventmatch` (
  `uuid` varchar(40) NOT NULL,
  `name` varchar(255) NOT NULL,
  `jsonpath` text NOT NULL,
  `user` varchar(255) NOT NULL,
  `disabled` datetime DEFAULT NULL,
  `error` text DEFAULT NULL,
  `target_url` text NOT NULL,
  `version` varchar(255) NOT NULL,
  `extensions` text NOT NULL,
  `created` datetime NOT NULL,
  `updated` datetime NOT NULL,
  `deleted` datetime DEFAULT NULL,
  `auth` text DEFAULT NULL,
  PRIMARY KEY (`uuid`),
  KEY `eventmatch_name` (`name`),
  KEY `eventmatch_user` (`user`),
  KEY `eventmatch_disabled` (`disabled`),
  KEY `eventmatch_created` (`created`),
  KEY `eventmatch_updated` (`updated`),
  KEY `eventmatch_deleted` (`deleted`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci;
CREATE TABLE `eventlog` (
  `uuid` varchar(40) NOT NULL,
  `jsondata` text NOT NULL,
  `created` datetime NOT NULL,
  PRIMARY KEY (`uuid`),
  KEY `eventlog_created` (`created`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci;
CREATE TABLE `eventlogmatch` (
  `uuid` varchar(40) NOT NULL,
  `event_log_id` varchar(40) NOT NULL,
  `event_match_id` varchar(40) NOT NULL,
  `policy_status_code` text NOT NULL,
  `policy_resp_body` text NOT NULL,
  `target_status_code` text NOT NULL,
  `target_resp_body` text NOT NULL,
  `created` datetime NOT NULL,
  PRIMARY KEY (`uuid`),
  KEY `eventlogmatch_event_log_id` (`event_log_id`),
  KEY `eventlogmatch_event_match_id` (`event_match_id`),
  KEY `eventlogmatch_created` (`created`),
  CONSTRAINT `eventlogmatch_ibfk_1` FOREIGN KEY (`event_log_id`) REFERENCES `eventlog` (`uuid`),
  CONSTRAINT `eventlogmatch_ibfk_2` FOREIGN KEY (`event_match_id`) REFERENCES `eventmatch` (`uuid`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci;
CREATE TABLE `notificationsystem` (
  `part` varchar(255) NOT NULL,
  `value` int(11) NOT NULL,
  PRIMARY KEY (`part`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci;
INSERT INTO notificationsystem (part, value) VALUES ('major', 3), ('minor', 0);
